"""A run that is killed, preempted and asked again and again, against one that is left alone."""
