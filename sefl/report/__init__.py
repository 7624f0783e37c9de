"""What python -m sefl.report is made of: stored runs, experiments over seeds, published rows, tables, figures."""
