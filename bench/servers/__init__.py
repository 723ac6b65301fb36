"""Servers under measurement: started on the loopback interface, on folders of their own."""
