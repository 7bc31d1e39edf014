"""HTML pages: the reports of a method, a comparison and an audit, and the list of all reports."""
