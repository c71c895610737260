"""What is known about calls after they ran: `replay` drives a call's journal through the same
machines again and compares; `why` tells the way it took, with the reason of every hop.
"""
