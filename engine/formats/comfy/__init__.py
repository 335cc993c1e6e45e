"""Recipes as ComfyUI graphs; the way back is `engine.formats.graphs`.

ComfyUI writes a graph in two forms, and both go into every picture:

- the *graph* (API format, PNG text `prompt`): node id → `{"class_type", "inputs"}`, where an input
  is a value or a link `[node id, output number]`; it is what ComfyUI runs;
- the *workflow* (UI format 0.4, PNG text `workflow`): the same nodes with places on the canvas,
  a table of links and values by position; it is what ComfyUI opens when a picture is dropped.

    limits.py    recipes that have no graph, or one for a slightly different picture
    builder.py   nodes for models, prompts, ControlNets and loaded pictures
    flow_builder.py
                 what flow models have instead: parts that lie apart, guidance, noise levels
    writer.py    a recipe as a graph
    layout.py    a graph as a workflow

Sampler and schedule names are ComfyUI's own. Start images, masks and maps are loaded by the names
of our picture store, `<sha256>.png`: copied into ComfyUI's `input` folder, they are found.
"""
