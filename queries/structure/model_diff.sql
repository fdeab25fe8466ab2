-- question: What does one learning algorithm lean on that another does not: along which training examples, for which targets?
-- paper: ModelDiff, Shah et al. 2022 (arXiv 2211.12491)
-- tables: components, examples, studies (through the view component_places of the catalog: lake/macros/)
-- param: study text = null : one study that was compared, by structure.compare; null: all
-- param: k integer 1..1000 = 6 : how many images of either end
-- column: leans text : the study whose weights these are
-- column: beyond text : the study whose weights were projected out
-- column: component integer : place by variance of what is left, from 0
-- column: share double [fraction] : of the variance of the leaning study's weights along the component
-- column: other_share double [fraction] : of the variance of the other study's weights
-- column: gap double [fraction] : share - other_share
-- column: null_gap double [fraction] : the largest gap between two halves of either study's own models: what noise alone makes
-- column: left double [fraction] : share of the variance of what is left
-- column: high_train text : training examples of the high end, furthest first, with class: `312 (4), 17 (4)`
-- column: low_train text : training examples of the low end
-- column: high_targets text : test targets that the high end helps most
-- column: low_targets text : test targets that the low end helps most
-- column: study_id text : name of the study that asked
-- column: fit text : its fit
-- column: other_fit text : the other study's fit
-- column: role text : one a comparison
-- column: fingerprint text : fingerprint of the study
-- rows: a component of what one study's datamodels have beyond another's
with gauges as (
    select study_id, role, max(own_explained - other_explained) as null_gap
    from components
    where embedding in ('null', 'reverse-null')
    group by study_id, role
),
named_places as (
    select study_id, role, embedding, component, component_places.split, high_rank, low_rank,
           component_places.example_id || ' (' || label || ')' as name
    from component_places join studies using (study_id)
    left join examples on examples.dataset_id = studies.dataset_id and examples.split = component_places.split
        and examples.example_id = component_places.example_id
    where embedding in ('residual', 'reverse') and least(high_rank, low_rank) <= $k and ($study is null or study_id = $study)
),
ends as (
    select study_id, role, embedding, component,
           string_agg(name, ', ' order by high_rank) filter (split = 'train' and high_rank <= $k) as high_train,
           string_agg(name, ', ' order by low_rank) filter (split = 'train' and low_rank <= $k) as low_train,
           string_agg(name, ', ' order by high_rank) filter (split = 'test' and high_rank <= $k) as high_targets,
           string_agg(name, ', ' order by low_rank) filter (split = 'test' and low_rank <= $k) as low_targets
    from named_places
    group by study_id, role, embedding, component
)
select if(embedding = 'residual', study_id, other_study) as leans, if(embedding = 'residual', other_study, study_id) as beyond, component,
       own_explained as share, other_explained as other_share, own_explained - other_explained as gap, null_gap, explained as left,
       high_train, low_train, high_targets, low_targets, study_id, fit, other_fit, role, fingerprint
from components join ends using (study_id, role, embedding, component) left join gauges using (study_id, role)
left join studies using (study_id)
order by study_id, role, embedding, component
