-- question: Which masks are stored twice?
-- source: lake/tables.py: study, role and mask_id are the key of masks
-- tables: masks
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the mask
-- column: mask_id integer : position of the mask in its role
-- column: n_rows bigint : rows of that key
-- rows: a key that more than one row has
select study_id, role, mask_id, count(*) as n_rows
from masks
where $study is null or study_id = $study
group by study_id, role, mask_id
having n_rows > 1
order by study_id, role, mask_id
