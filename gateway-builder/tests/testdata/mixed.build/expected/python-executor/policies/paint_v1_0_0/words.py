SAY = "painted"
