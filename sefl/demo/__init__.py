"""What python -m sefl.demo draws: one module for each picture."""
