-- question: How accurate are the models, and did all of them end well?
-- paper: Ilyas et al. 2022 section 2
-- tables: margins
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : `fit`, `heldout` or `removal`
-- column: n_models bigint : models trained
-- column: n_ok bigint : models that ended well
-- column: n_diverged bigint : models with a non-finite output
-- column: n_failed bigint : models whose training raised
-- column: test_accuracy double [fraction] : mean over models of the share of test examples classified right
-- column: test_accuracy_sd double [fraction] : standard deviation of it over models
-- column: train_accuracy double [fraction] : mean over models of the share of their own subset classified right
-- column: train_accuracy_sd double [fraction] : standard deviation of it over models
-- rows: a role of a study
select study_id, role, count(*) as n_models, count(*) filter (status = 'ok') as n_ok, count(*) filter (status = 'diverged') as n_diverged,
       count(*) filter (status = 'failed') as n_failed, avg(test_accuracy) as test_accuracy, stddev_samp(test_accuracy) as test_accuracy_sd,
       avg(train_accuracy) as train_accuracy, stddev_samp(train_accuracy) as train_accuracy_sd
from margins
where $study is null or study_id = $study
group by study_id, role
order by study_id, role
