"""4. From a container and its labels to routes, or to the reasons why there are none. Pure."""
