"""Models and measures of dense tasks: detection and segmentation on the stages of any strided timm backbone."""
