"""Lists the default scheme and port of common images and aliases (LABELS II.6.4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALIASES", "IMAGES", "PREFERRED_PORTS"]

PREFERRED_PORTS: Final = (80, 8080, 3000, 8000, 443, 8443)

_HTTP: Final = {
    "adguardhome": 3000,
    "bazarr": 6767,
    "calibre-web": 8083,
    "changedetection.io": 3000,
    "dockge": 5001,
    "gitea": 3000,
    "gogs": 3000,
    "grafana": 3000,
    "home-assistant": 8123,
    "homebridge": 8581,
    "httpd": 80,
    "immich": 3001,
    "jellyfin": 8096,
    "lidarr": 8686,
    "microbin": 8080,
    "nginx": 80,
    "nginx-proxy-manager": 81,
    "open-webui": 8080,
    "plex": 32400,
    "prometheus": 9090,
    "prowlarr": 9696,
    "radarr": 7878,
    "radarr-sma": 7878,
    "rss-bridge": 80,
    "rsshub": 1200,
    "sonarr": 8989,
    "sonarr-sma": 8989,
    "uptime-kuma": 3001,
    "whisparr": 6969,
}
_HTTPS: Final = {"portainer-be": 9443, "portainer-ce": 9443}
_TCP: Final = {
    "mariadb": 3306,
    "memcached": 11211,
    "minecraft-server": 25565,
    "mongo": 27017,
    "mssql": 1433,
    "mysql": 3306,
    "pgvecto-rs": 5432,
    "pgvector": 5432,
    "postgres": 5432,
    "rabbitmq": 5672,
    "redis": 6379,
}

IMAGES: Final[Mapping[str, tuple[str, int]]] = {
    **{image: ("http", port) for image, port in _HTTP.items()},
    **{image: ("https", port) for image, port in _HTTPS.items()},
    **{image: ("tcp", port) for image, port in _TCP.items()},
}
"""Image name -> scheme and port."""

ALIASES: Final[Mapping[str, tuple[str, int]]] = {"portainer": ("https", 9443), "crafty": ("https", 8080)}
"""Alias -> scheme and port."""
