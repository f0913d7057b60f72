"""What Craftax-Classic is made of, as far as it is asked for."""
