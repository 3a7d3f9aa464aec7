"""What the product decides, as pure functions over values: no clock, no clients, no environment, no logs."""
