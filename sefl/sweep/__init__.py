"""What python -m sefl.sweep is made of: the plan, the runs that there are already, the jobs."""
