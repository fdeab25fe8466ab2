-- question: Which models were trained on a mask that is not in the lake?
-- source: lake/tables.py: margins refer to masks by study, role and mask_id
-- tables: masks, margins
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the model
-- column: model_id integer : position of the model in its role
-- column: mask_id integer : the mask that is missing
-- rows: a model without its mask
select study_id, role, model_id, mask_id
from margins anti join masks using (study_id, role, mask_id)
where $study is null or study_id = $study
order by study_id, role, model_id
