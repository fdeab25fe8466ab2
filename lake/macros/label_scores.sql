-- macro: label_scores(of_study, of_fit)
-- rows: a training example with what may tell that its label is wrong, each the larger the more suspect, and whether it was planted so
with wrong_labels as (
    select study_id, example_id as train_id
    from planted join studies using (dataset_id)
    where kind = 'label'
)
select study_id, fit, train_id, -margin_out as left_out, margin_in - margin_out as self_influence, if(fit is null, null, -coalesce(mean_weight, 0)) as harm,
       train_id in (select train_id from wrong_labels where wrong_labels.study_id = own.study_id) as wrong
from left_out(of_study) as own
left join (select study_id, fit from leading_fits(of_study, 'test', of_fit)) using (study_id)
left join mean_weights(of_study, of_fit) using (study_id, fit, train_id)
