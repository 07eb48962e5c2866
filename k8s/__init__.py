"""The client side of Kubernetes: reading and writing objects, following them as they change.

Credentials come through the official client's configuration loader; the list and watch path is raw bytes
over aiohttp, decoded by msgspec into only the fields we read. It knows nothing of meshes.
"""
