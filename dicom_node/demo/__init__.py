"""Shows the whole way on synthetic patients: trial PACS, trial RIS and the node, on loopback.

In: a folder and a language. Out: every result as file, a PNG of each overlay, one HTML page, and a
table. Every picture is made by the shipped model's own decoder from averages over at least five
patients plus noise: no picture shows a person. Never: a network beyond loopback.
"""

from dicom_node.demo.show import run

__all__ = ["run"]
