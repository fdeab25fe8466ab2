-- question: Which models have not one margin for each example of the dataset?
-- source: lake/tables.py: margins by target_id and by train_id
-- tables: margins, examples, studies
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the model
-- column: model_id integer : position of the model in its role
-- column: n_test bigint : test margins
-- column: n_train bigint : training margins
-- column: expected_test bigint : test examples
-- column: expected_train bigint : training examples
-- rows: a model that fails
with datasets as (
    select dataset_id, count(*) filter (split = 'test') as expected_test, count(*) filter (split = 'train') as expected_train
    from examples
    group by dataset_id
)
select study_id, role, model_id, len(test_margin) as n_test, len(train_margin) as n_train, expected_test, expected_train
from margins join studies using (study_id) join datasets using (dataset_id)
where (n_test <> expected_test or n_train <> expected_train) and ($study is null or study_id = $study)
order by study_id, role, model_id
