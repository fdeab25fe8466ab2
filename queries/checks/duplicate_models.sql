-- question: Which models are stored twice?
-- source: lake/tables.py: study, role and model_id are the key of margins
-- tables: margins
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the model
-- column: model_id integer : position of the model in its role
-- column: n_rows bigint : rows of that key
-- rows: a key that more than one row has
select study_id, role, model_id, count(*) as n_rows
from margins
where $study is null or study_id = $study
group by study_id, role, model_id
having n_rows > 1
order by study_id, role, model_id
