"""The notebook's functions."""


def unscaled(features):
    return {"small": features}
