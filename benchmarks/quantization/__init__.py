"""Int8 post-training quantizers beside each other: same float models, same calibration images, same judged images."""
