-- question: Which test accuracies are not the share of positive margins?
-- source: Ilyas et al. 2022 section 2: the margin `max` is positive exactly when the example is classified right
-- tables: margins, studies
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the model
-- column: model_id integer : position of the model in its role
-- column: test_accuracy float [fraction] : as stored
-- column: positive_share double [fraction] : share of margins above 0
-- column: zero_share double [fraction] : share of margins that are 0 in float16, which may be right or wrong
-- rows: a model whose accuracy lies outside positive_share and positive_share + zero_share
with params as (
    select 1e-6 as tolerance
),
max_studies as (
    select study_id
    from studies
    where margin = 'max'
),
models as (
    select study_id, role, model_id, any_value(test_accuracy) as test_accuracy,
           avg((output > 0)::integer) as positive_share, avg((output = 0)::integer) as zero_share
    from (select study_id, role, model_id, test_accuracy, unnest(test_margin) as output from margins semi join max_studies using (study_id))
    where $study is null or study_id = $study
    group by study_id, role, model_id
)
select study_id, role, model_id, test_accuracy, positive_share, zero_share
from models cross join params
where test_accuracy not between positive_share - tolerance and positive_share + zero_share + tolerance
order by study_id, role, model_id
