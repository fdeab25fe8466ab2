-- question: Which training examples stay when suspects or copies are left out, and what does the datamodel predict of it?
-- paper: Ilyas et al. 2022 section 4; used by the option `keep` of a dataset
-- tables: weights, fits, examples, neighbours, masks, margins, studies (left_out, duplicate_pairs, mean_weights, leading_fits, asked_fits: macros)
-- param: study text : the study whose training set is to be cleaned
-- param: leave_out suspects|memorized|duplicates|leaks|random = suspects : lowest margin_out, most memorized, copies in train, copies of test, or any
-- param: k integer 1..100000000 = 20 : how many go; copies go all
-- param: within double = 0.3 : how near a copy is, as in the query duplicates
-- param: fit text = null : a fit or a pattern such as lasso-*: the newest that predicts best; null: of all
-- column: train_id integer : position of a training example that stays
-- column: n_left_out bigint : how many go
-- column: predicted_gain double [logit] : mean over test targets of the margin that models on a share alpha of what stays gain, beyond a random list
-- column: study_id text : name of the study
-- column: fit text : name of the fit that predicts; NULL without one
-- column: fingerprint text : fingerprint of the study
-- rows: a training example that stays
with chosen as (
    select study_id, fit
    from leading_fits($study, 'test', $fit) join asked_fits($study, 'test', $fit) as asked using (study_id, split, fit)
    order by asked.n_models desc, validation_r desc nulls last, fit
    limit 1
),
train_examples as (
    select study_id, fingerprint, alpha, example_id as train_id
    from studies join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train'
    where study_id = $study
),
ranked as (
    select train_id, row_number() over (order by margin_out, train_id) as suspect_rank,
           row_number() over (order by margin_in - margin_out desc, train_id) as memorized_rank,
           row_number() over (order by md5(train_id::varchar), train_id) as random_rank
    from train_examples left join left_out($study) using (study_id, train_id)
),
going as (
    select train_id
    from ranked
    where case $leave_out when 'suspects' then suspect_rank when 'memorized' then memorized_rank when 'random' then random_rank end <= $k
    union
    select train_id
    from duplicate_pairs($study, $within)
    where ($leave_out = 'duplicates' and other_split = 'train') or ($leave_out = 'leaks' and other_split = 'test')
),
judged as (
    select train_examples.*, coalesce(mean_weight, 0) - avg(coalesce(mean_weight, 0)) over () as relative_effect,
           train_id in (select train_id from going) as goes
    from train_examples
    left join (select study_id, train_id, mean_weight from mean_weights($study, $fit) join chosen using (study_id, fit)) using (study_id, train_id)
),
totals as (
    select count(*) filter (goes) as n_left_out, -coalesce(sum(alpha * relative_effect) filter (goes), 0) as gain
    from judged
)
select train_id, n_left_out, if(fit is null, null, gain) as predicted_gain, judged.study_id, fit, fingerprint
from judged cross join totals left join chosen using (study_id)
where not goes
order by train_id
