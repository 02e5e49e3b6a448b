"""Makes a destination from its part of node.yaml. Never: a connection; `send` and `probe` do."""

from __future__ import annotations

from config.settings import Destination as DestinationSettings
from config.settings import DicomDestination, MllpDestination
from dicom_node.destinations.dicom import DicomSender
from dicom_node.destinations.folder import FolderSender
from dicom_node.destinations.mllp import MllpSender
from dicom_node.destinations.outcome import Destination


def build(name: str, settings: DestinationSettings, calling_ae: str) -> Destination:
    """The sender for one entry of `destinations:`. calling_ae: our own AE title."""
    if isinstance(settings, DicomDestination):
        return DicomSender(name, settings, calling_ae)
    if isinstance(settings, MllpDestination):
        return MllpSender(name, settings)
    return FolderSender(name, settings)
