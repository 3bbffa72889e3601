RequestAction = None
