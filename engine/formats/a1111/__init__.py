"""Write a recipe as the line that A1111's web UI reads, and read its lines.

Three parts: prompt, negative prompt, settings as `Name: value, …`. The line has no escapes: A1111
trims every line of a prompt, and takes a line that begins with "Negative prompt:" for what it says.

    names.py    A1111's names for samplers, schedules, upscalers and ways to fit
    settings.py the settings: taken one by one, so that what is left over can be named
    syntax.py   what prompts hold beside words: networks, embeddings, words that change
    writer.py   a recipe as a line, and what no line can say
    reader.py   a line as a recipe, and what of it cannot be honoured
"""
