on_request = "a text"
