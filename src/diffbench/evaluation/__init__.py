"""What samples are held against."""
