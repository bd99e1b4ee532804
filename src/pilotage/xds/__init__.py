"""6a. The table, brought to Envoy: resources, what each Envoy still lacks of them, and the stream that carries them.

Needs the extra ``gateway``: ``pip install 'pilotage[gateway]'``.
"""
