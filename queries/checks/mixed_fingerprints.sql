-- question: Which studies hold files of two different experiments?
-- source: lake/fingerprint.py: one study name has one fingerprint
-- tables: studies
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: n_fingerprints bigint : different fingerprints among its files
-- rows: a study that fails
select study_id, n_fingerprints
from studies
where n_fingerprints > 1 and ($study is null or study_id = $study)
order by study_id
