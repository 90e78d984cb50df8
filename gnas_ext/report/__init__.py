"""Showing what was found: one HTML page with the comparison, the search, the architecture and the data."""

from gnas_ext.report.data import Ancestor, CurvePoint, FinalistRow, GeneShare, ReportData, TrialPoint
from gnas_ext.report.files import write_architecture
from gnas_ext.report.insight import insight_of
from gnas_ext.report.mermaid import to_mermaid
from gnas_ext.report.page import write_report
from gnas_ext.report.verdict import Verdict, verdict

__all__ = [
    "Ancestor",
    "CurvePoint",
    "FinalistRow",
    "GeneShare",
    "ReportData",
    "TrialPoint",
    "Verdict",
    "insight_of",
    "to_mermaid",
    "verdict",
    "write_architecture",
    "write_report",
]
