"""Models of dense tasks around timm backbones: pyramids, detectors, segmenters, and what scores them."""
