"""What every score family shares: cases, tables, intervals, baselines and the declaration of metrics."""
