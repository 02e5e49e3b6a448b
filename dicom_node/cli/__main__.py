"""`python -m dicom_node.cli`: the console script without its installation."""

from dicom_node.cli import main

main()
