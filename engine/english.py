"""What sentences say in English, by their codes: templates, filled by `engine.sentences`."""

from collections.abc import Mapping
from typing import Final

ENGLISH: Final[Mapping[str, str]] = {
    # Values of options
    "bad_option": "{called} must be {allowed}, not {given}.",
    "between": "between {low} and {high}",
    "whole_between": "a whole number between {low} and {high}",
    "between_in_steps": "a multiple of {step} between {low} and {high}",
    "pixels_a_side": "{allowed} pixels per side",
    "a_size": "like 512 or 768x512, in pixels, or a ratio like 3:2 of whole numbers from 1 to 999",
    "a_shape_or": "{shape} where a ratio is meant, or {allowed}",
    "shape_at_most": "a ratio of at most {most}:1 or 1:{most}",
    "a_lora": "written like name or name:0.8, several separated by commas, or 'none'",
    "or_a_word": "{allowed}, or {word!r}",
    "a_style_name": "1 to 32 letters, digits, - or _",
    "a_seed": "a whole number from 0 to {most}",
    "one_of": "one of {names}",
    "one_of_many": "one of {names}, … ({count} in all)",
    "allowed_for_model": "{allowed} for this model",
    "whole_above_zero": "a whole number above 0",
    "below_largest": "small enough to keep {size} within 16 megapixels",
    "below_count": "a whole number below the count ({count})",
    "newer": "{version} (written by a newer Marble?)",
    "like_bounds": "a range like LOW-HIGH between {low} and {high}",
    "owners_own": "within what Marble's owner allows here ({owners})",
    "a_place": "like {places}",
    "places": "discord:SERVER, discord:SERVER/CHANNEL, telegram:CHAT, or * for everywhere",
    "a_person": "like discord:123 or telegram:123",
    "a_limit": "a whole number from 0 (no limit) to {most:,}",
    "at_most": "at most {limit:,} characters",
    "characters": "{count:,} characters",
    "characters_with_style": "{count:,} characters with the style {style}",
    "some_words": "a description of the picture",
    "followed_by": "followed by a value (for example {example})",
    "without_image": "left out without a start image",
    "inside_picture": "inside the picture",
    "true_or_false": "true or false",
    "without_delta": "left out where noise is {noise}",
    "with_image": "used with a start image",
    "stored_sha256": "the sha256 of a stored picture (64 hexadecimal digits)",
    "name_of_model": "the name of a model",
    "name_of_control": "the name of a ControlNet",
    "name_of_lora": "the name of a LoRA",
    "name_of_vae": "the name of a VAE",
    "name_of_upscaler": "lanczos, latent or the name of an upscale model",
    "below_any_count": "a whole number below the count",
    "some_text": "text",
    "given": "given",
    "recipe_parts": "the parts of a recipe",
    "most_parts": "{most} at most",
    "so_many": "{count:one number|{count} numbers}",
    "beside_image": "{allowed} beside a start image",
    "without_margins": "left out where margins are painted",
    "inner_pixels": "such that 8 pixels of the image remain",
    "one_margin": "above 0 on one side at least",
    "above_start": "above its start ({start})",
    "with_second_pass": "used with a second pass (a strength)",
    "a_reason": "1 to {most} visible characters",
    "style_room_once": "text with {{prompt}} at most once",
    "style_words": "given words to add or to leave out",
    "unknown_option": "There is no option {name}{near}.",
    "unknown_command": "There is no command {name}{near}.",
    "button_instead": "There is no command {name}: press {button} below a picture, or answer the "
    "picture with {answer}.",
    "answer_instead": "There is no {name} here: answer the picture with other words or options.",
    "name_of_button": "{answer} names a button below Marble's pictures: answer one of them with "
    "it, or say what is to be drawn.",
    "unknown_options": "There {count:is no option|are no options} {names}; leave "
    "{count:it|them} out{instead}.",
    "written_instead": ", or write what Marble has: {pairs}",
    "weight_of_words": "Weights are not written {written} here: write (words:1.2) for more weight, "
    "and --no words for what the picture should not show.",
    "one_hyphen": "Write {option} with two hyphens where you mean the option, or put {name} in "
    "quotes where it is words.",
    "mention": "{written} is how Discord writes a mention or an emoji, and cannot be drawn; write "
    "in words what you mean.",
    "address_of_picture": "Marble fetches no pictures from the web: instead of {written}, give the "
    "picture itself as the start image.",
    "too_many_permutations": "The choices in braces make more than {most} jobs; leave some out, or "
    "write \\{{ for a brace that is text.",
    "permuted": "That makes {count} jobs, one for each choice in braces.",
    "read_as_negative": "What stands below the first line, {words}, was read as what the picture "
    "should not show; write it in the first line to have it drawn.",
    "permuted_elsewhere": "Choices in braces can only stand in a new prompt; leave them out here, "
    "or write \\{{ for a brace that is text.",
    "permuted_workflow": "A workflow draws one job at a time; leave out the choices in braces.",
    "too_many_at_once": "The choices in braces make {count} jobs, but here at most {most} a minute "
    "are taken; leave some out.",
    "blend_so_many": "A blend is made of two to {most} pictures, not {count}.",
    "blend_words": "The model {model!r} draws by words: say what the blended picture should show.",
    "blended": "The model {model!r} does not see several pictures, so it starts from all of them "
    "laid over each other, at strength {strength}.",
    "describe_unset": "Nothing here can describe pictures: Marble's owner has to name a model in "
    "{setting}.",
    "describe_fails": "The picture could not be described; `marble doctor` tells Marble's owner "
    "why.",
    "describe_busy": "Many pictures are being described; try again in a moment.",
    "describe_one": "Another picture of yours is being described; ask again once it is answered.",
    "describe_nothing": "No words were found for this picture.",
    "clip_off": "Pictures are not compared with words here: Marble's owner has turned that off in "
    "{setting}.",
    "clip_fails": "Pictures could not be compared with words; `marble doctor` tells Marble's owner "
    "why.",
    "clip_busy": "Many pictures are being compared with words; try again in a moment.",
    "clip_changed": "The model that compares pictures with words was changed meanwhile; try again.",
    "clip_nan": "Pictures could not be compared with words, since the model's numbers are not "
    "finite; `marble doctor` tells Marble's owner why.",
    "clip_lost": "The file of picture {picture} is missing, so nothing can be compared with it.",
    "clip_alone": "There is no other picture to compare {picture} with; Marble's owner can have "
    "older ones compared by `marble clip index`.",
    "clip_none": "None of these pictures has been compared with words yet; Marble's owner can have "
    "that done by `marble clip index`.",
    "given_twice": "{name} is given twice, as {first} and as {second}; give it once.",
    "iw_alone": "--iw weighs a start image: give that, too, or leave out --iw.",
    "nearest": " (did you mean {name!r}?)",
    # Words and pictures that people give
    "bad_weight": "The weight of {words} must be a finite number, not {weight}; write parentheses "
    "that are part of the text as \\( and \\).",
    "many_tokens": "The prompt has {tokens:,} tokens; this model takes at most {most:,}.",
    "many_windows": "With its embeddings, the prompt fills {windows:,} windows of tokens; at most "
    "{most} are allowed.",
    "bad_lora_tag": "{written} must be written <lora:name> or <lora:name:0.8>.",
    "no_hypernetworks": "{written} is a hypernetwork, which Marble cannot use; leave it out.",
    "empty_file": "The file is empty.",
    "too_many_bytes": "The file is {size} MiB; a picture may be at most {most} MiB.",
    "damaged_picture": "The picture is damaged or incomplete; save it again as PNG, JPEG or WebP.",
    "no_such_picture": "The file is {name}; send a PNG, JPEG or WebP picture.",
    "no_picture": "The file is not a picture; send a PNG, JPEG or WebP picture.",
    "moving_picture": "Animated pictures are not supported; send a still one.",
    "too_many_pixels": "The picture is {size} pixels; at most {most} million in total are allowed.",
    "too_small": "The picture is {size} pixels; each side must be at least {least}.",
    "too_long": "The picture is {size} pixels; one side may be at most {times} times as long as "
    "the other.",
    "mask_of_another_shape": "The mask is {mask} pixels and the picture {picture}; both must have "
    "the same aspect ratio.",
    "no_recipe": "The picture has no recipe: no text by a program that draws.",
    "only_comment": "The picture has no recipe, only a comment: {comment}.",
    "strange_recipe": "The file is a workflow of {wrote}, which Marble cannot read.",
    "not_a_picture_file": "The file is no PNG, JPEG, WebP, AVIF or GIF picture, and no text that a "
    "program writes about one.",
    "black_mask": "The mask is all black, so there is nothing to draw; paint the parts to redraw "
    "white.",
    "black_where_drawn": "The mask is all black in the part that is drawn, so there is nothing to "
    "draw.",
    "nothing_transparent": "Nothing in the picture is transparent, so there is nothing to draw; "
    "give a mask.",
    "nothing_of_colour": "Nothing in the picture is {colour}, so there is nothing to draw.",
    "unfetched": "The picture could not be downloaded; try again in a moment.",
    # Models, and what becomes of a job
    "unknown_model": "There is no model {name}{near}; available models: {known}.",
    "unknown_part": "There is no {kind} {name}{near}; available: {known}.",
    "missing_vae": "The model {name!r} has no VAE: choose one from vae/ with --vae{known}; a tiny "
    "one can only decode.",
    "sampler_needs_negative": "The sampler {sampler} needs a negative prompt's prediction, which "
    "the model {model!r} has not: choose another sampler.",
    "lacks_option": "The model {model!r} has no option {called}: leave it out, or choose another "
    "model.",
    "fixed_option": "The model {model!r} always draws with {called} {value}: leave it out, or "
    "choose another model.",
    "left_out": "Left out, since the model {model!r} has no such option: {called}.",
    "fixed_kept": "The model {model!r} always draws with {called} {value}, so that is used instead "
    "of {given}.",
    "style_left_out": "Left out, since the model {model!r} has no option {called}: what the style "
    "{style} does not want to show.",
    "size_rounded": "The model {model!r} draws {size} instead of {asked} pixels: its sides are "
    "multiples of {multiple}.",
    "side_too_long": "The model {model!r} draws at most {most} pixels a side at once, not {given}; "
    "choose a smaller size.",
    "not_edited": "The model {model!r} does not edit by words, so it draws anew from the picture, "
    "at strength {strength}.",
    "too_many_references": "The model {model!r} takes at most {most} {most:picture|pictures} to "
    "edit, not {given}.",
    "with_not_edited": "The model {model!r} does not edit by words, so it starts from one picture: "
    "leave out the {others} {others:other|others}, or choose a model that edits.",
    "negative_unread": "At guidance 1 the model {model!r} reads no negative prompt, so it has no "
    "effect.",
    "edit_takes_no": "The model {model!r} edits by words, without a start image: leave out "
    "{called}.",
    "refiner_latents": "{refiner!r} ({kind}) cannot finish what {model!r} ({title}) begins: their "
    "latents differ; choose a model of the same kind, or leave out --refiner.",
    "refiner_at_alone": "--refiner-at is for two models: name the second one with --refiner, too.",
    "refiner_left_out": "Left out: the second model {refiner!r}, whose latents are not those of "
    "{model!r}.",
    "no_references": "The model {model!r} edits no pictures by words.",
    "unweighted": "The model {model!r} reads {typed} as plain text: it knows no weights of words, "
    "no BREAK and no embeddings.",
    "not_embedded": "The model {model!r} knows no embeddings, so {typed} stands for nothing there.",
    "unbroken": "The model {model!r} reads {typed} as plain text: it has no windows of tokens that "
    "it could start.",
    "of_a1111": "Drawn as words here: {typed}; to have such signs read as A1111 reads them, add "
    "--syntax a1111.",
    "many_joined": "At most {most} prompts can be joined by AND.",
    "many_texts": "The prompts would change between more than {most} texts.",
    "long_texts": "The texts between which the prompts change are longer than {most:,} bytes "
    "together.",
    "references_left_out": "The model {model!r} takes {most} {most:picture|pictures} to edit, so "
    "the others are left out.",
    "which_one": "The name {name} fits several files ({kind}): {fitting}; write the full name.",
    "no_part": "There is no {kind} {name}; none is installed.",
    "wrong_family": "The control model {name!r} is made for {family}; the model {model!r} is "
    "{its}.",
    "unknown_map_kind": "The control model {name!r} serves several kinds of maps: use it with "
    "{finds}, or use a control model for one kind.",
    "broken_model": "The model {name!r} cannot be loaded: {reason}",
    "broken_part": "The {kind} {name!r} cannot be loaded: {reason}",
    "model_too_large": "The model {name!r} needs {needed} GB of memory, and {there} GB are there "
    "for models: a smaller form of it, such as fp8 or GGUF, may fit.",
    "not_finite_step": "The model produced invalid numbers (NaN or infinity) in step {step} of "
    "{total}; smaller weights of words and LoRAs, less guidance or another model may help.",
    "not_finite_latents": "The sampler produced invalid numbers (NaN or infinity); another sampler "
    "or more steps may help.",
    "not_finite_vae": "The VAE produced invalid numbers (NaN or infinity); another VAE may help.",
    "not_finite_upscaler": "The upscaler {name!r} produced invalid numbers (NaN or infinity); "
    "another upscaler may help.",
    "out_of_memory": "There is not enough memory for this picture; a smaller size may fit.",
    "missing_picture": "The recipe starts from picture {picture}…, which is not stored here; give "
    "its file again as the start image, or rerun the job that drew it.",
    "pictures_away": "The pictures that this starts from cannot be read at the moment, since their "
    "store does not answer; try again in a few minutes.",
    "quarantined": "This job made its worker crash {attempts} {attempts:time|times} and will not "
    "be tried again; other settings may work.",
    "no_device_of_kind": "torch {version} sees no {kind} device.",
    "no_such_device": "There is no {device}; devices are counted from cuda:0.",
    "no_such_processor": "There is no {device}: this machine has "
    "{n} {n:processor|processors}, of which the last is cpu:{last}.",
    "unexpected": "An unexpected error occurred; Marble's owner can find details in the log.",
    "unknown_style": "There is no style {name}{near} here; available styles: {known}.",
    "no_style": "There is no style {name} here; no styles have been added.",
    "style_raw": "There is no style {name} here; --style none adds nothing to your words.",
    "too_many_styles": "There are already {most} styles here, the most allowed; remove one first.",
    # The owner's workflows
    "unknown_workflow": "There is no workflow {name}{near}; available workflows: {known}.",
    "no_workflow": "There is no workflow {name}; Marble's owner offers none.",
    "workflow_unmarked": "In the workflow {name} nothing is marked as {given}; what may be set: "
    "{inputs}.",
    "workflow_wants": "The workflow {name} starts from a picture of yours: give it as {given}.",
    "workflow_lacks_picture": "It loads {picture!r}, which is neither beside it nor in a folder "
    "`input`.",
    "workflow_bad_picture": "The picture {picture} of the workflow cannot be used: {why}",
    "workflow_name": "Its name may have 1 to 100 letters, digits, blanks and -_.()+, and begins "
    "with a letter, a digit or _.",
    "workflow_twice": "Another file holds a workflow named {name}.",
    "mark_unused": "The node {node} is marked {mark!r}, but the picture does not depend on it.",
    "mark_empty": "The node {node} is marked {mark!r}, but has no such value of its own.",
    "mark_mask_alone": "A mask is marked, but no image that it is for.",
    "mark_none": "{word} in its title is no mark{near}",
    # Jobs and pictures that are named
    "unknown_job": "There is no job {job}.",
    "unknown_picture": "There is no picture {name}; pictures have names like 12 or 12.3.",
    "one_picture_in_job": "There is no picture {name}: job {job} has 1 picture, {first}.",
    "pictures_in_job": "There is no picture {name}: job {job} has {count} pictures, {first} to "
    "{last}.",
    "export_under_way": "Your export is already being prepared; wait until it arrives.",
    "too_large_export": "Your export is {size} MB, too large for messages here; ask Marble's owner "
    "for it (`marble db export`).",
    "export_no_room": "The export needs {needed} MB of disk space, and {free} MB are free; try "
    "again once there is room.",
    "unreadable_recipe": "The recipe of job {job} cannot be read: {reason}",
    "not_waiting": "Job {job} does not wait any more.",
    "too_late": "It is too late: job {job} has already ended.",
    "no_pictures": "Job {job} has no pictures to start from.",
    "which_picture": "Job {job} has {count} pictures; choose one, for example {example}.",
    "nothing_yet": "You have no pictures yet; describe one first.",
    "nothing_denoised": "{name} was only enlarged: nothing was drawn, so there is no making-of.",
    "no_making_of": "This file carries no making-of; `marble making-of` makes one of a picture.",
    "damaged_making_of": "The file of this making-of is damaged or of another version; "
    "`marble making-of` makes a new one.",
    # Who may ask for what
    "being_restarted": "Marble is restarting.",
    "disk_nearly_full": "Marble's disk is nearly full, so nothing new starts; Marble's owner has "
    "been notified.",
    "no_engine_yet": "No engine takes jobs yet ({why}); the job waits, and goes on by itself.",
    "engines_away": "The machines that draw cannot be reached; jobs wait, and go on by themselves.",
    "on_an_engine_away": "No machine that draws now has {names}; one that is away may have it.",
    "on_no_engine": "No machine that draws has {names}; the owner can copy it to one.",
    "queue_full": "The queue is full ({length:,} {length:job is|jobs are} waiting); try again in a "
    "few minutes.",
    "too_many_waiting": "You already have {most:,} {most:job|jobs} waiting, the most allowed; "
    "cancel one or try again when one has started.",
    "out_of_bounds": "Here {option} must be between {low} and {high}, not {value}.",
    "not_among": "Here {option} must be one of {names}, not {value}.",
    "picture_unsafe": "The safety check does not allow this picture here.",
    "picture_unchecked": "This picture is not shown here: the safety check could not read it.",
    "best_first": "Best match first: {matches}.",
    "best_unknown": "Nothing could compare the pictures with the prompt, so they are in the order "
    "in which they were drawn.",
    "best_of_one": "One picture is the best by itself: `--best` needs a `--count` of several.",
    "other_device": "Another kind of device drew this than the original: details may differ.",
    "some_left": "Some pictures are hidden here by the safety check.",
    "no_veil": "Here this picture must be behind a spoiler, and files cannot be.",
    "blocked_word": "The word {word!r} is not allowed here; try without it.",
    "too_often": "You may request {most} {most:job|jobs} a minute here; try again in {wait} s.",
    "all_too_often": "All people here together may request {most} {most:job|jobs} a minute; try "
    "again in {wait} s.",
    "too_many_here": "You already have {waiting} {waiting:job|jobs} waiting here, and at most "
    "{most:,} may wait; cancel one or try again when one has started.",
    "all_too_many_here": "Here {waiting} {waiting:job is|jobs are} already waiting, and at most "
    "{most:,} may wait; try again when one has started.",
    "spent": "In 24 hours you used {used:,.0f} of {daily:,} million pixel-steps (width × height × "
    "steps), and this needs {asks:,.1f}; try again after {when}, or use a smaller size or fewer "
    "steps.",
    "more_than_a_day": "This needs {asks:,.1f} million pixel-steps, more than the {daily:,} "
    "million that you may use in 24 hours.",
    "closed": "Drawing is turned off here.",
    "banned": "You may not request pictures here: {reason}",
    "banned_until": "You may not request pictures here until {until}: {reason}",
    "unchecked": "Requests cannot be checked right now, so none are accepted; please try again "
    "later.",
    "one_command": "Another command is running: wait until it ends, or cancel it.",
    "owners_only": "Only Marble's owner can do that.",
    "moderators_only": "Only moderators can do that.",
    "unseen_picture": "There is no picture {name} that you may see here. If it was posted in "
    "another channel or group, ask for it there.",
    "posted_elsewhere": "Picture {name} was posted elsewhere, and not everybody here may see it: "
    "do this there, or send me a direct message.",
    "grant_ended": "This was opened from a message more than a day ago, or by somebody else. Press "
    "the message's button again.",
    "not_yours": "Only the person who requested it, or a moderator, can do that.",
    "ask_in_private": "This concerns personal data: use it with your own account, in a private "
    "chat with me.",
    # What a ComfyUI graph does that Marble cannot, or does otherwise
    "graph_picture_missing": "The ComfyUI graph starts from the picture {picture}, which is "
    "missing.",
    "graph_note": "{node}: {what}",
    "graph_node": "In the ComfyUI graph, {node} {what}.",
    "graph_too_large": "The ComfyUI workflow has {size} MiB; it may have {most} MiB at most.",
    "graph_not_json": "The file holds no ComfyUI workflow: it is not valid JSON.",
    "graph_empty": "The ComfyUI graph has no nodes.",
    "graph_no_node": "{name} in the ComfyUI graph is not a node.",
    "graph_not_plain": "is not a plain value",
    "graph_not_a_number": "is not a number",
    "graph_from_nowhere": "comes from node {source}, which does not exist",
    "graph_unconnected": "is not connected",
    "graph_no_value": "comes from {source}, which gives none",
    "graph_from_off": "comes from {source}",
    "graph_unknown_node": "comes from {source}, a node that Marble does not support",
    "graph_undrawn_node": "comes from {source}, a node that {what}, which Marble cannot do",
    "graph_does_areas": "places texts in boxes by GLIGEN",
    "graph_does_weigh": "takes the mean of two encoded texts",
    "graph_does_layers": "puts latents over others",
    "graph_does_vision": "shows the model a picture as CLIP sees it",
    "graph_does_merge": "mixes several models",
    "graph_wrong_type": "gets {given} from {source}, not {wanted}",
    "graph_input": "In the ComfyUI graph, {input!r} of {node} {what}.",
    "graph_circle": "The ComfyUI graph has a circle at {node}.",
    "graph_part_of_steps": "runs only some of the steps or adds no noise, which Marble cannot do",
    "graph_several_models": "The ComfyUI graph mixes several models, which Marble cannot do yet.",
    "graph_no_start": "The ComfyUI graph denoises only in part, but has no start image.",
    "graph_third_pass": "draws a third pass, which Marble cannot do",
    "graph_second_on_picked": "draws a second pass on a picture picked from a batch, where ComfyUI "
    "draws its noise differently from Marble",
    "graph_goes_on": "continues from unchanged latents, which Marble cannot do",
    "graph_noise_left": "takes latents in which noise is left, which only another sampler can",
    "graph_goes_on_with_another": "goes on with a third model, or in a second pass with another "
    "one, which Marble cannot do",
    "graph_own_in_second": "its own {names}: the second model has those of the first",
    "graph_made_for_first": "its LoRAs, ControlNets, patches and layer of CLIP: those of the "
    "first model are taken where both are of one family, else none",
    "graph_second_decodes": "the VAE of the first model: the second one's decodes",
    "graph_goes_on_otherwise": "goes on with other settings, or at another step, than the sampler "
    "before it, which Marble cannot do",
    "graph_goes_on_masked": "goes on under a mask, which Marble cannot do",
    "graph_in_one_run": "sampler {sampler}: it begins anew there; Marble draws in one run",
    "graph_mask_of_second": "its mask: the second pass is drawn everywhere",
    "graph_own_values": "its own {names}: a second pass uses those of the first, and its share of "
    "the steps",
    "graph_enlarged_mask": "draws under an enlarged mask, which Marble cannot do",
    "graph_two_encoders": "reads its prompts with two text encoders, which Marble cannot do",
    "graph_maps_scaled": "how its maps are scaled: like the start image",
    "graph_controls_of_one": "controls of one prompt only: they act on both",
    "graph_told_sizes": "sizes given to SDXL: ignored, the picture's own size is used",
    "graph_factor_guessed": "its model does not say how much it enlarges: {factor} times is "
    "assumed",
    "graph_second_upscaler": "enlarges again with another model, which Marble cannot do",
    "graph_decodes_nothing": "decodes latents on which nothing was drawn",
    "graph_decodes_stretched": "decodes enlarged latents, which need a second pass",
    "graph_another_vae": "uses another VAE than the nodes before it, which Marble cannot do",
    "graph_method": "upscale_method {method}: {taken} is used",
    "graph_lays_other": "puts something other than the start image over what was painted under its "
    "mask",
    "graph_mask_of_unloaded": "makes a mask from something other than a loaded picture, which "
    "Marble cannot do",
    "graph_mask_unmarked": "takes a mask from {channel} of a picture, where nothing is marked",
    "graph_size_unknown": "The ComfyUI graph starts from a picture whose size is unknown here.",
    "graph_unseen": "the size is that of the picture that it loads, which is not here",
    "graph_unseen_to": "enlarged to {size}, by how much the picture that it loads tells",
    "graph_scaled": "{was} pixels become {now}, scaled and not only cropped",
    "graph_grey": "the grey under its mask and grow_mask_by: the picture is kept there",
    "graph_masks_other": "masks something other than a start image, which Marble cannot do",
    "graph_picks_some": "The ComfyUI graph picks some of its pictures; Marble draws one or all.",
    "graph_picks_twice": "The ComfyUI graph picks from a batch twice, which Marble cannot do.",
    "graph_repeats": "repeats something drawn or picked, which Marble cannot do",
    "graph_stretches_nothing": "enlarges something that was neither drawn nor given",
    "graph_text_l": "text_l: both text encoders read text_g",
    "graph_crop": "crop_w and crop_h: ignored, the picture's own size is used, uncropped",
    "graph_long_text": "The ComfyUI graph joins texts to more than {most:,} characters.",
    "graph_joins_encoders": "joins texts of two text encoders, which Marble cannot do",
    "graph_controls_of_text": "controls of one text: they act on all of it",
    "graph_area_outside": "confines a text to a part outside of the picture",
    "graph_controls_of_whole": "its ControlNets act on what is drawn of the whole picture alone",
    "graph_areas_scaled": "areas in pixels: they grow with the picture",
    "graph_percent": "start_percent and end_percent: counted in steps, not in noise",
    "graph_map_not_loaded": "uses a map that is not a loaded picture, which Marble cannot do",
    "graph_whole_latents": "its size: {wanted} becomes {made}, in whole latents",
    "graph_no_size": "The ComfyUI graph enlarges to an impossible size.",
    "graph_another_shape": "The ComfyUI graph enlarges to another aspect ratio, which Marble "
    "cannot do.",
    "graph_numbers": "The ComfyUI graph reckons with a number that is too large or too small.",
    "graph_deep": "The ComfyUI graph is nested too deeply.",
    "graph_saves_undrawn": "The ComfyUI graph saves a picture that was not drawn.",
    "graph_enlarged_twice": "saves a picture that is enlarged twice, which Marble cannot do",
    "graph_saves_nothing": "The ComfyUI graph saves nothing: it has none of these nodes: {nodes}.",
    "graph_result": "The graph has several results: {node} is taken, not {others} "
    "(`--result {name}`, or the menu `Recipe` in Discord, takes another)",
    "graph_no_result": "The ComfyUI graph has no result {node}; its results: {nodes}.",
    "graph_saved_so": "not supported, its picture is taken as it is",
    "graph_saved_otherwise": "The ComfyUI graph saves by {node}, a node that Marble does not "
    "support.",
    "graph_picks_early": "The ComfyUI graph picks a picture of {size} before KSampler, where "
    "ComfyUI draws its noise differently from Marble.",
    "graph_own_encoder": "text encoder {files}: the model's own is used",
    "graph_padding": "min_padding and min_length: prompts are padded as the model needs it",
    "graph_shift": "shifts noise levels too far, which Marble cannot do",
    "graph_unchanged": "not supported, the picture is drawn without it",
    "graph_left_out": "left out: {why}",
    "graph_text_left_out": "a text for a part of the picture is left out: {why}",
    "graph_one_text": "{names}: all text encoders read {taken}",
    "graph_edits_unloaded": "edits something other than a loaded picture, which Marble cannot do",
    "graph_reference_method": "reference_latents_method {method}: the model's own is used",
    "graph_kept": "noise_mask: the picture is kept outside the mask",
    "graph_read_as_one": "its texts are read as one, line by line",
    "graph_scales_drawn": "scales something other than a loaded picture, which Marble cannot do",
    "graph_stitches": "joins pictures side by side, which Marble cannot do; it takes each as a "
    "picture of its own",
    "graph_measures_drawn": "measures something other than a loaded picture, which Marble cannot "
    "do",
    "graph_all_levels": "sampler {sampler}: the last but one noise level is left out, as by "
    "KSampler",
    "graph_two_guidances": "cfg: only the guidance of {guidance} that the model is told is used, "
    "without a negative prompt",
    "graph_not_told": "guidance {guidance}: the model takes none, cfg is used",
    "graph_references_of_one": "pictures beside one prompt only: they stand beside both",
    "graph_system_prompt": "a prompt without Lumina 2's system prompt: Marble puts it before",
    "graph_zeros": "zeros as negative prompt: an empty text is used",
    "graph_levels_of_size": "width and height of its noise levels: the picture's own are used",
    "graph_shifted_by_size": "its noise levels, shifted by {shift} at all sizes: FLUX's makers "
    "shift them by the picture's size, and so does Marble",
    "graph_config": "config_name {config}: what the model itself says is used",
    "graph_tiles": "its tiles: Marble takes the whole picture, or tiles that cannot be told apart",
    "graph_levels_left_out": "leaves out noise levels before the end, which Marble cannot do",
    "graph_levels_between": "spaces noise levels by {given}; Marble does it by {ours}",
    "graph_levels_of_sd": "gives noise levels of Stable Diffusion to another model, which Marble "
    "cannot do",
    "graph_padded": "its grey and feathering: Marble begins margins with what lies at the "
    "picture's edges, and fades them over a strip of its own",
    "graph_pads_drawn": "pads something other than a loaded picture, which Marble cannot do",
    "graph_pads_elsewhere": "pads a picture for something other than drawing the margins under its "
    "own mask, which Marble cannot do",
    "graph_masks_margins": "masks a padded picture otherwise than the node that pads it, which "
    "Marble cannot do",
    "graph_edges": "its edges: Marble finds them itself, with thresholds of {thresholds}",
    "graph_edges_elsewhere": "finds edges for something other than a ControlNet, which Marble "
    "cannot do",
    "graph_solid": "masks everything alike, which Marble cannot do",
    "graph_weight_computed": "LoRA {name}: another node computes its weight, which is unknown here",
    "graph_long_texts": "The ComfyUI workflow's texts have more than {most:,} characters.",
    "graph_damaged": "The ComfyUI workflow is damaged.",
    # What A1111's text says
    "a1111_long": "The A1111 text is over {most:,} characters long.",
    "a1111_noise": "noise is drawn on the CPU",
    "a1111_under_mask": "the whole picture is kept under its mask",
    "a1111_no_image": "the line does not contain its start image",
    "a1111_taken": "{taken} is used",
    "a1111_no_size": "{size!r} is not a size to enlarge to",
    "a1111_another_shape": "another aspect ratio, which Marble cannot do",
    "a1111_drawn_in": "drawn in {steps} {steps:step|steps}",
    "a1111_turned": "the noise is interpolated as a whole, not row by row",
    "a1111_refiner_late": "it never takes over in so few steps, and A1111 drew without it",
    "a1111_refiner_pass": "it takes over in the first pass, and draws all of the second",
    "a1111_told": "only the distilled one is used, without a negative prompt",
    "a1111_no_map": "the line does not contain its map",
    "a1111_words": "{words} ({why})",
    "a1111_network": "Marble has no such network; left out",
    "a1111_embedding": "not found in the prompts",
    "a1111_changing": "drawn as words; Marble changes words between steps for A1111 alone",
    "a1111_weaker": "drawn as words; to reduce weight, write (words:0.9)",
    "a1111_and": "drawn as a word; Marble composes prompts for A1111 alone",
    "a1111_none": "The text has no line of settings as A1111 writes it.",
    "a1111_template": "the prompt was made from it",
    "a1111_blocks": "only the name and the first weights are read",
    "a1111_resource": "not read",
    "reading_note": "{name}: {value} ({why})",
    # What a file says, whoever wrote it
    "reading_unknown": "Marble has no such one",
    "reading_range": "it must be {allowed}",
    "reading_why": "{why}",
    "reading_half": "half a size",
    "reading_rounded": "{was} pixels become {now}, in whole latents",
    "reading_no_model": "The text by {source} does not name its model: choose one with `--model`.",
    "reading_one_result": "`--result` chooses among the results of a ComfyUI graph; what {source} "
    "wrote into this file is one picture's.",
    "reading_filled": "The file does not say this, so it is taken from the model {model!r}: "
    "{called}.",
    "reading_lacks": "The text by {source} lacks: {called}.",
    "reading_damaged": "the text is damaged, and values may be others than they were",
    "marble_damaged": "Marble's text is damaged: only what is left of it is read",
    "marble_cut": "not whole",
    "marble_unknown": "this Marble has no such field",
    "tool_syntax": "drawn as words; weights are written (words:1.2)",
    "tool_section": "for a part of the picture or another pass; left out",
    # The texts themselves
    "text_not_json": "The text in the picture is not valid JSON.",
    "json_large": "The JSON in the file holds more than {most:,} {most:value|values}; no workflow "
    "is so large.",
    "text_no_object": "The text in the picture is not a JSON object.",
    "png_cut_short": "The PNG file is incomplete.",
    "png_text": "The text in the PNG file is damaged.",
    "png_text_damaged": "The text {key!r} in the PNG file is damaged.",
    "png_text_long": "The text {key!r} in the PNG file is over {most:,} bytes long.",
    "metadata_damaged": "The picture's metadata is damaged.",
    "text_long": "A text in the picture is over {most:,} characters long.",
}
