-- question: Which masks of the fixed design do not hold alpha * n_train examples?
-- source: Ilyas et al. 2022 section 2: subsets of one exact size
-- tables: masks, examples, studies
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the mask
-- column: mask_id integer : position of the mask in its role
-- column: n_included bigint : examples that it holds
-- column: expected double : alpha * n_train
-- rows: a mask that fails
with params as (
    select 0.5 + 1e-9 as tolerance
),
datasets as (
    select dataset_id, count(*) as n_train
    from examples
    where split = 'train'
    group by dataset_id
)
select study_id, role, mask_id, bit_count(mask::bit)::bigint as n_included, masks.alpha * n_train as expected
from masks join studies using (study_id) join datasets using (dataset_id) cross join params
where masks.design = 'fixed' and role <> 'removal' and abs(n_included - expected) > tolerance and ($study is null or study_id = $study)
order by study_id, role, mask_id
