-- question: Which models have margins without the status `ok`, or the status without margins?
-- source: lake/tables.py: margins are NULL unless the status is `ok`
-- tables: margins
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the model
-- column: model_id integer : position of the model in its role
-- column: status text : as stored
-- rows: a model that fails
select study_id, role, model_id, status
from margins
where (status = 'ok') <> (test_margin is not null) and ($study is null or study_id = $study)
order by study_id, role, model_id
