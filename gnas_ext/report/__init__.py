"""Showing what was found: one HTML page with the comparison, the search, the architecture and the data."""

from gnas_ext.report.data import CurvePoint, ReportData, TrialPoint
from gnas_ext.report.page import write_report
from gnas_ext.report.verdict import Verdict, verdict

__all__ = ["CurvePoint", "ReportData", "TrialPoint", "Verdict", "verdict", "write_report"]
