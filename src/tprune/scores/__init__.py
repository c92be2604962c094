"""What ranks groups: second order on calibration sentences, and the least-squares repair of what reads them."""
