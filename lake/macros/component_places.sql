-- view: component_places
-- rows: an example on a component that was kept: the score of a test target, or the loading of a training example, with its rank from either end
with places as (
    select study_id, role, fit, embedding, component, 'test' as split, unnest(range(len(test_score)))::integer as example_id, unnest(test_score)::double as value
    from components
    union all
    select study_id, role, fit, embedding, component, 'train' as split, unnest(range(len(train_loading)))::integer as example_id, unnest(train_loading)::double as value
    from components
)
select study_id, role, fit, embedding, component, split, example_id, value, row_number() over high as high_rank, row_number() over low as low_rank
from places
window high as (partition by study_id, role, embedding, component, split order by value desc, example_id),
       low as (partition by study_id, role, embedding, component, split order by value, example_id)
