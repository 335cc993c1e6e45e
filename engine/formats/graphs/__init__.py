"""Read ComfyUI graphs as recipes.

    graph.py        nodes with their values and links, what is wrong with them, and what each
                    output stands for
    nodes.py        the kinds of nodes that are known, as a table
    undrawn.py      those that do what no recipe can say
    flow_families.py
                    families of flow models, whose parts lie apart, as another table
    workflow.py     what the canvas saves, as a graph
    node_values.py  what outputs of nodes stand for
    models.py, words.py, pictures.py, masks.py, latents.py, sigmas.py, sampling.py
                    what each kind makes of its inputs
    results.py      which node's picture is meant, where several save or show one
    survey.py       where values stand, whether or not Marble can draw the graph
    recipe.py       the recipe of what a graph saves

Only what leads to the saved picture is read. A node that is not known there is named: guessing
what it does would give another picture. What is known but only nearly the same here is named, too,
beside the recipe. The way there is `engine.formats.comfy`.
"""
