"""Starts, watches, restarts and stops processes, and relays their logs. Of this package it imports only local_http."""
