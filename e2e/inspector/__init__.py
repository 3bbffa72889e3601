"""The pages of the Inspector in Chromium, at a gateway and a controller of these tests' own."""
