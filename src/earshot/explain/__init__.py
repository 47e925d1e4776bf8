"""What a model hears in one sound: layers, filters, saliency, and whether the saliency is faithful."""
