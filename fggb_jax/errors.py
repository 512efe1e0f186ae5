"""What users can do wrong. Each message says what was wrong, the value, and what to do."""


class FggbError(Exception):
    """Anything this package raises on purpose."""


class ImageError(FggbError, ValueError):
    """An image that cannot be read, or that does not fit the model."""


class ModelError(FggbError, ValueError):
    """A model that cannot be found, read or used for faces."""


class OptionError(FggbError, ValueError):
    """A method, option or threshold that does not exist or makes no sense."""
