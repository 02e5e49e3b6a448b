"""Where headers say in words what was examined and how."""

ANATOMY = "AnatomicRegionSequence"
SAID_OF_SERIES = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionProtocolName",
    "AcquisitionDeviceProcessingDescription",
)
SAID_OF_STUDY = (
    "StudyDescription",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
)
