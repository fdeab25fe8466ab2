-- macro: fit_labels(of_study, of_fit)
-- rows: a fit on the test targets of a study with planted labels: how well a low mean effect tells these from the others (AUC, ties count half)
with chosen as materialized (
    from asked_fits(of_study, 'test', of_fit)
),
train_examples as (
    select number, study_id, fit, examples.example_id as train_id, planted.example_id is not null as wrong
    from chosen join studies using (study_id) join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train'
    left join planted on planted.dataset_id = studies.dataset_id and planted.example_id = examples.example_id and kind = 'label'
),
train_sums as (
    select number, train_id, sum(value) as total
    from attributions join chosen using (study_id, split, fit)
    group by number, train_id
),
ranked_examples as (
    select number, study_id, fit, wrong, (rank() over low_first + count(*) over low_first) / 2.0 as mean_rank
    from train_examples left join train_sums using (number, train_id)
    window low_first as (partition by number order by coalesce(total, 0) desc)
)
select study_id, fit, (avg(mean_rank) filter (wrong) - (count(*) filter (wrong) + 1) / 2.0) / nullif(count(*) filter (not wrong), 0) as label_auc
from ranked_examples
group by number, study_id, fit
having count(*) filter (wrong) > 0
