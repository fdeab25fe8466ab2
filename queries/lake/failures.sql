-- question: Which models did not end well?
-- source: the status that each model is stored with
-- tables: margins
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of its mask
-- column: model_id integer : position of the model in its role
-- column: mask_id integer : the mask it was trained on
-- column: init_id integer : which initial weights it started from
-- column: repeat integer : how many models of the same mask come before it
-- column: status text : `diverged` (non-finite output) or `failed` (raised)
-- rows: a model whose status is not `ok`
select study_id, role, model_id, mask_id, init_id, repeat, status
from margins
where status <> 'ok' and ($study is null or study_id = $study)
order by study_id, role, model_id
