"""What sentences say in English, by their codes: templates, filled by `engine.sentences`."""

from collections.abc import Mapping
from typing import Final

ENGLISH: Final[Mapping[str, str]] = {
    # Values of options
    "bad_option": "{called} must be {allowed}, not {given}.",
    "between": "between {low} and {high}",
    "whole_between": "a whole number between {low} and {high}",
    "between_in_steps": "a multiple of {step} between {low} and {high}",
    "pixels_a_side": "{allowed} pixels a side",
    "a_size": "like 512 or 768x512, in pixels, or a shape like 3:2 of numbers from 1 to 999",
    "a_lora": "written like name or name:0.8, several with commas between, or 'none'",
    "or_a_word": "{allowed}, or {word!r}",
    "a_style_name": "1 to 32 letters, digits, - or _",
    "a_seed": "a whole number from 0 to {most}",
    "one_of": "one of {names}",
    "below_largest": "such that {size} stays below 16 megapixels",
    "below_count": "a whole number below count ({count})",
    "newer": "{version} (written by a newer Marble?)",
    "like_bounds": "like LOW-HIGH, within {low} and {high}",
    "owners_own": "within what Marble's owner allows here ({owners})",
    "a_limit": "a whole number from 0 (no limit) to {most:,}",
    "at_most": "at most {limit:,} characters",
    "characters": "{count:,} characters",
    "characters_with_style": "{count:,} characters with the style {style}",
    "some_words": "some words that describe the picture",
    "followed_by": "followed by a value ({example})",
    "without_image": "left out where there is no start image",
    "with_image": "used with a start image",
    "a_reason": "1 to {most} characters that can be shown",
    "style_room_once": "words with {{prompt}} once at most",
    "style_words": "given some words to add, or to leave out",
    "unknown_option": "There is no option {name}{near}.",
    "given_twice": "{name} is given twice, as {first} and as {second}; give it once.",
    "nearest": " (did you mean {name!r}?)",
    # Words and pictures that people give
    "bad_weight": "The weight of {words} must be a finite number, not {weight}; parentheses that "
    "are part of the text are written \\( and \\).",
    "many_windows": "With its embeddings the prompt fills {windows:,} windows of tokens; {most} at "
    "most.",
    "bad_lora_tag": "{written} must be written <lora:name> or <lora:name:0.8>.",
    "no_hypernetworks": "{written} is a hypernetwork, which Marble cannot use; leave it out.",
    "empty_file": "The file is empty.",
    "too_many_bytes": "The file has {size} MiB; a picture may have {most} at most.",
    "damaged_picture": "The picture is damaged or cut short; save it anew as a PNG, JPEG or WEBP "
    "picture.",
    "no_such_picture": "The file is {name}; send a PNG, JPEG or WEBP picture.",
    "no_picture": "The file is no picture; send a PNG, JPEG or WEBP picture.",
    "moving_picture": "The picture moves; send a still one.",
    "too_many_pixels": "The picture is {size} pixels; it may have {most} million in all at most.",
    "too_small": "The picture is {size} pixels; each side must have {least} at least.",
    "too_long": "The picture is {size} pixels; one side may be {times} times as long as the other "
    "at most.",
    "mask_of_another_shape": "The mask is {mask} pixels and the picture {picture}; both must have "
    "the same shape.",
    "no_recipe": "The picture holds no recipe: no text by Marble, ComfyUI or A1111.",
    "strange_recipe": "The picture's text is by {wrote}, which Marble does not read.",
    "not_a_picture_file": "The file is not a PNG, JPEG or WebP picture.",
    "black_mask": "The mask is all black, so there is nothing to draw; paint white what is to be "
    "drawn.",
    "black_where_drawn": "The mask is all black where the picture is drawn, so there is nothing to "
    "draw.",
    "nothing_transparent": "Nothing in the picture is transparent, so there is nothing to draw; "
    "give a mask.",
    "nothing_of_colour": "Nothing in the picture is {colour}, so there is nothing to draw.",
    "unfetched": "The picture could not be fetched; try again in a moment.",
    # Models, and what becomes of a job
    "unknown_model": "There is no model {name}{near}; known models: {known}.",
    "unknown_part": "There is no {kind} {name}{near}; known ones: {known}.",
    "missing_vae": "The model {name!r} holds no VAE: name one of vae/ beside it with --vae{known}; "
    "a tiny one only decodes.",
    "which_one": "The name {name} fits several files ({kind}): {fitting}; write which one in full.",
    "no_part": "There is no {kind} {name}; there is none at all.",
    "wrong_family": "The control model {name!r} is made for {family}; the model {model!r} is "
    "{its}.",
    "unknown_map_kind": "The control model {name!r} is a union for several kinds of maps, and must "
    "be told which: use it with {finds}, or a control model for one kind.",
    "broken_model": "The model {name!r} cannot be loaded: {reason}",
    "not_finite_step": "The model's values stopped being numbers (NaN or infinity) in step {step} "
    "of {total}; smaller weights of words and LoRAs, less guidance or another model may help.",
    "not_finite_latents": "The sampler's values stopped being numbers (NaN or infinity); another "
    "sampler or more steps may help.",
    "not_finite_vae": "The VAE's values stopped being numbers (NaN or infinity); another VAE may "
    "help.",
    "not_finite_upscaler": "The values of the upscaler {name!r} stopped being numbers (NaN or "
    "infinity); another upscaler may help.",
    "out_of_memory": "There is not enough memory for this here; a smaller size may fit.",
    "missing_picture": "The recipe starts from picture {picture}…, which is not in the picture "
    "store; give its file again as the start image, or rerun the picture that it was.",
    "quarantined": "This job ended its worker {attempts} times and will not be tried again; other "
    "settings may work.",
    "unexpected": "Marble met an error that it did not expect; its owner finds more in the log.",
    "unknown_style": "There is no style {name}{near} here; known styles: {known}.",
    "no_style": "There is no style {name} here; there is none at all.",
    "too_many_styles": "There are {most} styles here already, which is as many as may be; remove "
    "one.",
    # Jobs and pictures that are named
    "unknown_job": "There is no job {job}.",
    "unknown_picture": "There is no picture {name}; a picture is named like 12 or 12.3.",
    "one_picture_in_job": "There is no picture {name}: job {job} has 1 picture, {first}.",
    "pictures_in_job": "There is no picture {name}: job {job} has {count} pictures, {first} to "
    "{last}.",
    "export_under_way": "Your export is being made already; wait until it has arrived.",
    "too_large_export": "Your export has {size} MB, too much for messages here; ask who runs this "
    "Marble for it (`marble db export`).",
    "export_no_room": "The export needs {needed} MB of disk, and {free} MB are free; try again "
    "once there is room.",
    "unreadable_recipe": "The recipe of job {job} cannot be read: {reason}",
    "too_late": "It is too late: job {job} is over already.",
    "no_pictures": "Job {job} has no pictures to start from.",
    "which_picture": "Job {job} has {count} pictures; say which one, like {example}.",
    "nothing_yet": "You have no picture yet; describe one first.",
    # Who may ask for what
    "being_restarted": "Marble is being restarted.",
    "disk_nearly_full": "The disk is nearly full; its owner has been told.",
    "queue_full": "The queue is full ({length:,} {length:job is|jobs are} waiting); try again in a "
    "few minutes.",
    "too_many_waiting": "You have {most:,} {most:job|jobs} waiting already, which is as many as "
    "may; cancel one or try again when one has started.",
    "out_of_bounds": "Here {option} must be between {low} and {high}, not {value}.",
    "not_among": "Here {option} must be one of {names}, not {value}.",
    "picture_unsafe": "The safety check does not let this picture be shown here.",
    "picture_unchecked": "This picture is not shown here: the safety check could not look at it.",
    "some_left": "What the safety check does not let be shown here is left out.",
    "no_veil": "This picture is shown here behind a spoiler only, which files cannot have.",
    "blocked_word": "The word {word!r} is not allowed here; try it without.",
    "too_often": "You may ask for {most} {most:job|jobs} a minute here; try again in {wait} s.",
    "all_too_often": "Here all together may ask for {most} {most:job|jobs} a minute; try again in "
    "{wait} s.",
    "too_many_here": "You have {waiting} {waiting:job|jobs} waiting here, and no more than "
    "{most:,} may; cancel one or try again when one has started.",
    "all_too_many_here": "Here {waiting} {waiting:job|jobs} of all together wait already, and no "
    "more than {most:,} may; try again when one has started.",
    "spent": "You have used {used:,.0f} of your {daily:,} million pixel-steps of 24 hours, and "
    "this takes {asks:,.1f}; it is possible from {when} on.",
    "more_than_a_day": "You have used {used:,.0f} of your {daily:,} million pixel-steps of 24 "
    "hours, and this takes {asks:,.1f}; it is more than a whole day has.",
    "closed": "Pictures are switched off here.",
    "banned": "You may not ask for pictures here: {reason}",
    "banned_until": "You may not ask for pictures here until {until}: {reason}",
    "unchecked": "Requests cannot be checked just now, so none is taken; please try again later.",
    "owners_only": "Only the owner can do that.",
    "moderators_only": "Only moderators can do that.",
    "unseen_picture": "There is no picture {name} that you may see here. If it was posted in "
    "another channel or group, ask for it there.",
    "posted_elsewhere": "Picture {name} was posted elsewhere, and not everybody here may see it: "
    "ask for this there, or in a direct message to me.",
    "not_yours": "Only who asked for it, or a moderator, can do that.",
    "ask_in_private": "That is about one person alone: ask for it as yourself, in a private chat "
    "with me.",
    # What a ComfyUI graph does that Marble cannot, or does otherwise
    "graph_picture_missing": "The ComfyUI graph starts from the picture {picture}, which is not "
    "here.",
    "graph_note": "{node}: {what}",
    "graph_node": "In the ComfyUI graph, {node} {what}.",
    "graph_empty": "The ComfyUI graph holds no nodes.",
    "graph_no_node": "{name} in the ComfyUI graph is not a node.",
    "graph_not_plain": "is not a plain value",
    "graph_not_a_number": "is not a number",
    "graph_from_nowhere": "comes from node {source}, which is not there",
    "graph_unconnected": "is not connected",
    "graph_unknown_node": "comes from {source}, a node that Marble does not know",
    "graph_wrong_type": "gets {given} from {source}, not {wanted}",
    "graph_input": "In the ComfyUI graph, {input!r} of {node} {what}.",
    "graph_circle": "The ComfyUI graph goes in a circle at {node}.",
    "graph_part_of_steps": "takes only some of the steps or adds no noise, which Marble cannot do",
    "graph_several_models": "The ComfyUI graph mixes several models, which Marble cannot do yet.",
    "graph_no_start": "The ComfyUI graph denoises only in part, but there is no start image.",
    "graph_third_pass": "draws a third time, which Marble cannot do",
    "graph_second_on_picked": "draws a second time on a picture picked of a batch, where ComfyUI "
    "draws its noise another way than Marble",
    "graph_goes_on": "goes on from latents as they are, which Marble cannot do",
    "graph_mask_of_second": "its mask: the second pass is drawn everywhere",
    "graph_own_values": "its own {names}: a second pass takes the first's, and its share of the "
    "steps",
    "graph_enlarged_mask": "draws on an enlarged mask, which Marble cannot do",
    "graph_two_encoders": "reads its prompts by two text encoders, which Marble cannot do",
    "graph_noise_of_gpu": "sampler_name {sampler}: its noise is drawn on the CPU",
    "graph_maps_scaled": "how its maps are scaled: as the start image is",
    "graph_controls_of_one": "controls of one prompt only: they act on both",
    "graph_told_sizes": "sizes told to SDXL: the picture's own are",
    "graph_factor_guessed": "its model does not tell how much it enlarges: by {factor}",
    "graph_second_upscaler": "enlarges by another model once more, which Marble cannot do",
    "graph_decodes_nothing": "decodes what nothing was drawn on",
    "graph_decodes_stretched": "decodes stretched latents, which need a second pass",
    "graph_another_vae": "uses another VAE than the nodes before it, which Marble cannot do",
    "graph_method": "upscale_method {method}: {taken} is taken",
    "graph_lays_other": "lays something else than the start image over what was painted under its "
    "mask",
    "graph_mask_of_unloaded": "makes a mask of no loaded picture, which Marble cannot do",
    "graph_mask_unmarked": "takes a mask from {channel} of a picture, where nothing is marked",
    "graph_size_unknown": "The ComfyUI graph starts from a picture whose size is not known here.",
    "graph_scaled": "{was} pixels become {now}, scaled and not only cut",
    "graph_grey": "the grey under its mask and grow_mask_by: the picture stays there",
    "graph_masks_other": "masks something else than a start image, which Marble cannot do",
    "graph_picks_some": "The ComfyUI graph picks some of its pictures; Marble makes 1 or all.",
    "graph_picks_twice": "The ComfyUI graph picks from a batch twice, which Marble cannot do.",
    "graph_repeats": "repeats what was drawn or picked, which Marble cannot do",
    "graph_stretches_nothing": "stretches nothing that was drawn or given",
    "graph_text_l": "text_l: both text encoders read text_g",
    "graph_crop": "crop_w and crop_h: the picture's own sizes are told, uncut",
    "graph_long_text": "The ComfyUI graph joins texts to more than {most:,} characters.",
    "graph_joins_encoders": "joins texts of two text encoders, which Marble cannot do",
    "graph_controls_of_text": "controls of one text: they act on all of it",
    "graph_averaged": "two guesses averaged: both texts are read one after the other",
    "graph_percent": "start_percent and end_percent: counted in steps, not in noise",
    "graph_map_not_loaded": "takes a map that is no loaded picture, which Marble cannot do",
    "graph_whole_latents": "its size: {wanted} becomes {made}, in whole latents",
    "graph_no_size": "The ComfyUI graph enlarges to a size that no picture has.",
    "graph_another_shape": "The ComfyUI graph enlarges to another shape, which Marble cannot do.",
    "graph_deep": "The ComfyUI graph is too deep.",
    "graph_saves_undrawn": "The ComfyUI graph saves a picture that nothing has drawn.",
    "graph_enlarged_twice": "saves what is enlarged twice, which Marble cannot do",
    "graph_saves_nothing": "The ComfyUI graph saves nothing: it has none of these nodes: {nodes}.",
    "graph_several_results": "The ComfyUI graph has {count} results to save, not just 1.",
    "graph_picks_early": "The ComfyUI graph picks a picture of {size} before KSampler, where "
    "ComfyUI draws its noise another way than Marble.",
    "graph_long_texts": "The ComfyUI workflow's texts have more than {most:,} characters.",
    "graph_damaged": "The ComfyUI workflow is damaged.",
    # What A1111's text says
    "a1111_long": "The A1111 text is over {most:,} characters long.",
    "a1111_noise": "noise is drawn on the CPU",
    "a1111_under_mask": "the whole picture stays under its mask",
    "a1111_no_image": "the line does not hold its start image",
    "a1111_taken": "{taken} is taken",
    "a1111_no_size": "The A1111 text enlarges to {size!r}, which is no size.",
    "a1111_another_shape": "The A1111 text enlarges to another shape, which Marble cannot do.",
    "a1111_drawn_in": "drawn in {steps}",
    "a1111_turned": "the noise is turned as a whole, not row by row",
    "a1111_no_map": "the line does not hold its map",
    "a1111_words": "{words} ({why})",
    "a1111_network": "Marble has nothing like it; left out",
    "a1111_embedding": "not found among the words",
    "a1111_changing": "drawn as words; Marble does not change words between steps",
    "a1111_weaker": "drawn as words; less weight is written (words:0.9)",
    "a1111_and": "drawn as a word; Marble reads one prompt",
    "a1111_missing": "The A1111 text does not say: {names}.",
    "a1111_note": "{name}: {value} ({why})",
    # The texts themselves
    "text_not_json": "The text in the picture is not valid JSON.",
    "text_no_object": "The text in the picture is not a JSON object.",
    "not_a_png": "The file is not a PNG picture.",
    "png_cut_short": "The PNG file is cut short.",
    "png_text": "The text in the PNG file is damaged.",
    "png_text_damaged": "The text {key!r} in the PNG file is damaged.",
    "png_text_long": "The text {key!r} in the PNG file is over {most:,} bytes long.",
    "metadata_damaged": "The picture's metadata is damaged.",
    "text_long": "A text in the picture is over {most:,} characters long.",
}
