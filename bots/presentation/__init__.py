"""How answers look on any platform: lines and captions, grids, and fitting its limits.

Pure functions of jobs, news and bytes. What works on pixels blocks: call it in a thread.
"""
