"""What python -m sefl.bench measures, and how: interleaved times, peak memory, arithmetic."""
